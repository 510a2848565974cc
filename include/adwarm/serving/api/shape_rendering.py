"""Makes the shapes of a document other than the stored one."""

from adwarm.foundation.errors import BadRequest


def render_shape(raw: bytes, content_type: str, shape: str) -> tuple[bytes, str]:
    """Return a document in another shape, and its content type.

    Args:
        raw: the stored document.
        content_type: its type.
        shape: a name of `insights_request.SHAPES`, with `.summary` or `.daily` where the client names a table.

    Raises:
        BadRequest: the shape is not available.
    """
    del raw, content_type
    raise BadRequest(f"the shape {shape!r} is not available; ask for columnar")
