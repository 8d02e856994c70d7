"""The helper: the server, relay and joiner containers, their image, and changes while they run.

`image` builds, `spec` says what the containers are, `helper` makes the engine have them,
`connected` reads which clients the server serves.
"""

from macnet.helper.helper import Helper, HelperStatus, LaneKind, RoutesApplied
from macnet.helper.image import ensure_image, helper_image_tag
from macnet.helper.spec import LABEL_NAME, LABEL_ROLE, HelperSpec, ServerRoutes

__all__ = [
    "LABEL_NAME",
    "LABEL_ROLE",
    "Helper",
    "HelperSpec",
    "HelperStatus",
    "LaneKind",
    "RoutesApplied",
    "ServerRoutes",
    "ensure_image",
    "helper_image_tag",
]
