"""A module that cannot be imported, for tests of what a config names."""

1 / 0  # noqa: B018
