"""Volume loaders: NIfTI, NumPy arrays, and plain DICOM series."""
