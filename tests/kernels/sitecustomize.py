"""Gives the Python of the kernels a directory for packages: sandboxes see its own environment, but cannot write there."""

import os
import site
import sys

packages = os.path.join(os.path.expanduser("~"), ".local/share/cabana/python")
is_needed = not os.access(sys.prefix, os.W_OK)
try:
    # Python looks no further into a directory that is missing when it first looks.
    if is_needed:
        os.makedirs(packages, exist_ok=True)
except OSError:
    is_needed = False
if is_needed:
    os.environ.setdefault("PIP_TARGET", packages)
    own = sys.path[:]
    site.addsitedir(packages)
    # What a user installs comes before what the environment has.
    added = [path for path in sys.path if path not in own]
    at = next((at for at, path in enumerate(own) if path.endswith("site-packages")), len(own))
    sys.path[:] = own[:at] + added + own[at:]
