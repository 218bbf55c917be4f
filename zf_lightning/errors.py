"""The one exception that is shown to a user as a sentence, without a traceback."""


class UserError(ValueError):
    """A mistake in what the user asked for: one sentence, what is wrong and what to do."""
