"""Declares a loss that another plugin has too, and the name of a built-in."""

from ctfw import Component, Strict, hookimpl


@hookimpl
def ctfw_losses():
    yield Component("shared", "ctfw_dup_b:Shared", Strict, "a loss of two plugins")


@hookimpl
def ctfw_negative_samplers():
    yield Component("heter", "ctfw_dup_b:Heter", Strict, "not the built-in")
