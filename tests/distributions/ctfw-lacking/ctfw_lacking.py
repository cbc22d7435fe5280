"""Declares a loss that needs a package nobody has."""

from ctfw import Component, Strict, hookimpl


@hookimpl
def ctfw_losses():
    needs = ("not-a-package>=2",)
    yield Component("needy", "ctfw_lacking:Needy", Strict, "a loss with needs", needs=needs)
