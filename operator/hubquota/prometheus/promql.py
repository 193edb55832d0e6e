"""PromQL that cannot be broken out of: every name is checked by the settings, every value is quoted here."""

from collections.abc import Collection, Iterable, Mapping

#: What a double-quoted string of PromQL, which are those of Go, may not hold as it is.
_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """The text as a string of PromQL. What is no character (a lone surrogate) becomes U+FFFD: no label holds one."""
    return '"' + "".join(map(_escaped, text)) + '"'


def any_of(texts: Collection[str]) -> str:
    """A string of PromQL with a regular expression that matches these texts alone. Of no text, nothing matches."""
    pattern = "|".join(_literal(text) for text in sorted(set(texts)))
    return quoted(f"({pattern})" if texts else "[^\\s\\S]")


def milliseconds(micros: int) -> str:
    """A duration, of at least a millisecond."""
    return f"{max(1, micros // 1000)}ms"


class Names:
    """What metrics and labels are called here, and what tells this cluster's series from others'.

    ``renamed``: by the name that kube-state-metrics gives. ``matchers``: labels and values.
    """

    def __init__(self, renamed: Mapping[str, str], matchers: Mapping[str, str]) -> None:
        self._renamed = renamed
        self._ours = [f"{label}={quoted(value)}" for label, value in sorted(matchers.items())]

    def here(self, name: str) -> str:
        """What a metric or label of kube-state-metrics is called here."""
        return self._renamed.get(name, name)

    def by(self, labels: Iterable[str]) -> str:
        """Labels as a list for ``by`` and ``without``."""
        return f"({', '.join(map(self.here, labels))})"

    def select(self, metric: str, hub: str, *more: tuple[str, str, str]) -> str:
        """The series of a metric in a hub's namespace. ``more``: label, operator and quoted value."""
        return self.everywhere(metric, ("namespace", "=", quoted(hub)), *more)

    def everywhere(self, metric: str, *more: tuple[str, str, str]) -> str:
        """The series of a metric in this cluster."""
        matchers = [*self._ours, *(f"{self.here(label)}{operator}{value}" for label, operator, value in more)]
        return f"{self.here(metric)}{{{', '.join(matchers)}}}"


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _ESCAPED:
        return _ESCAPED[character]
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return character if code >= 0x20 and code != 0x7F else f"\\x{code:02x}"


def _literal(text: str) -> str:
    """For RE2, which knows no backslash before what is neither a letter nor punctuation of ASCII."""
    return "".join(c if c.isalnum() or not c.isascii() else f"\\x{{{ord(c):x}}}" for c in text)
