"""The helper: the server and relay containers, their image, and changes while they run.

`image` builds, `spec` says what the containers are, `helper` makes the engine have them,
`management` reads the words of OpenVPN's management interface.
"""

from macnet.helper.helper import Helper, HelperStatus
from macnet.helper.image import ensure_image, helper_image_tag
from macnet.helper.spec import LABEL_NAME, LABEL_ROLE, HelperSpec

__all__ = [
    "LABEL_NAME",
    "LABEL_ROLE",
    "Helper",
    "HelperSpec",
    "HelperStatus",
    "ensure_image",
    "helper_image_tag",
]
