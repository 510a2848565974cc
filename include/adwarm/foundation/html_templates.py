"""The Jinja2 environment of every HTML page: values are escaped, and a name that a template misspells is an error."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def load_templates(package: str) -> Environment:
    """Return an environment for the folder `templates` of a package, such as `adwarm.replay`."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
