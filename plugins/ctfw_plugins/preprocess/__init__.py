"""Preprocessors: rescale to HU, resample, window, fit, choose slices, and the two stores."""
