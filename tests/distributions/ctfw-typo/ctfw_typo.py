"""A plugin with a misspelt hook."""

from ctfw import hookimpl


@hookimpl
def ctfw_negative_sampler():
    return []
