"""Adds to the package `p4` of PyPI's p4runtime what only an installation of p4lang/PI has beside it."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
