"""The path of paranal.deb on the controller, built when the source changed."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from paranal import package
from paranal.messages import Refusal

DOCUMENTATION = r"""
name: paranal_package
author: The Paranal founders
short_description: The path of paranal.deb on the controller
description:
  - Builds the package below C(.build/) unless one of the same content stands there, and returns its
    path. It takes no terms.
"""

EXAMPLES = r"""
- name: Name the package that a node must hold
  ansible.builtin.debug:
    msg: "{{ lookup('paranal_package') }}"
"""

RETURN = r"""
_raw:
  description: One path; the file's name ends in a digest of what is in the package.
  type: list
  elements: path
"""


class LookupModule(LookupBase):
    """The lookup ``paranal_package``."""

    def run(self, terms: list[Any], variables: object = None, **kwargs: object) -> list[str]:
        """Return the path of the package; a refusal becomes the lookup's own error."""
        if terms or kwargs:
            raise AnsibleLookupError("paranal_package takes no terms")
        try:
            return [str(package.build())]
        except Refusal as refusal:
            raise AnsibleLookupError(str(refusal)) from refusal
