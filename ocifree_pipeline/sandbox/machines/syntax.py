"""The grammar of a guest's shell: words, quotes, ``| && || ;``, redirections, here-documents, ``NAME=value``.

What a real shell has besides (substitution, loops, jobs) is refused by name, so that nobody takes silence for success.
"""

from dataclasses import dataclass, field

OPERATORS = ("&&", "||", ";", "|", "\n")
REFUSED_WORDS = frozenset({"if", "for", "while", "until", "case", "function", "{", "}", "[["})
NOT_PLAYED = "is not played by this guest of the sandbox"


class NotPlayed(Exception):
    """A part of the shell that this guest does not have."""


@dataclass(frozen=True, slots=True)
class Redirection:
    """``kind`` is ``<``, ``>``, ``>>``, ``<<`` (then ``target`` is the text) or ``>&`` (then it is a stream)."""

    stream: int
    kind: str
    target: str


@dataclass(frozen=True, slots=True)
class Simple:
    words: tuple[str, ...]
    redirections: tuple[Redirection, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands joined by ``|``, and the operator before them."""

    operator: str
    commands: tuple[Simple, ...]
    negated: bool = False


@dataclass(slots=True)
class Token:
    text: str
    quoted: bool = False
    operator: bool = False


@dataclass(slots=True)
class _Lexer:
    line: str
    variables: dict[str, str]
    at: int = 0
    tokens: list[Token] = field(default_factory=list)
    word: str | None = None
    quoted: bool = False
    documents: list[Token] = field(default_factory=list)

    def run(self) -> list[Token]:
        while self.at < len(self.line):
            self._one()
        self._end()
        if self.documents:
            raise NotPlayed("a here-document without its end " + NOT_PLAYED)
        return self.tokens

    def _one(self) -> None:
        here = self.line[self.at]
        if here == "\n":
            self._end()
            self.at += 1
            self._operator("\n")
            self._read_documents()
        elif here in " \t\r":
            self._end()
            self.at += 1
        elif here == "#" and self.word is None:
            end = self.line.find("\n", self.at)
            self.at = len(self.line) if end < 0 else end
        elif here in "&|;<>()":
            self._symbol(here)
        else:
            self._letter(here)

    def _letter(self, here: str) -> None:
        self.at += 1
        if here == "'":
            end = self.line.find("'", self.at)
            if end < 0:
                raise ValueError("No closing quotation")
            self._add(self.line[self.at : end], quoted=True)
            self.at = end + 1
        elif here == '"':
            self._double()
        elif here == "\\":
            if self.at < len(self.line) and self.line[self.at] != "\n":
                self._add(self.line[self.at], quoted=True)
            self.at += 1
        elif here == "$":
            self._variable()
        elif here == "`":
            raise NotPlayed("command substitution " + NOT_PLAYED)
        else:
            self._add(here)

    def _double(self) -> None:
        self._add("", quoted=True)
        while self.at < len(self.line):
            here = self.line[self.at]
            self.at += 1
            if here == '"':
                return
            if here == "\\" and self.at < len(self.line) and self.line[self.at] in '"\\$`\n':
                if self.line[self.at] != "\n":
                    self._add(self.line[self.at])
                self.at += 1
            elif here == "$":
                self._variable()
            elif here == "`":
                raise NotPlayed("command substitution " + NOT_PLAYED)
            else:
                self._add(here)
        raise ValueError("No closing quotation")

    def _variable(self) -> None:
        rest = self.line[self.at :]
        if rest[:1] == "(":
            raise NotPlayed("command substitution " + NOT_PLAYED)
        braced = rest[:1] == "{"
        name = ""
        for letter in rest[braced:]:
            if not (letter.isascii() and (letter.isalnum() or letter == "_")):
                break
            name += letter
        if not name or (braced and rest[len(name) + 1 : len(name) + 2] != "}"):
            if braced or rest[:1] in {"?", "#", "@", "*", "$", "!"}:
                raise NotPlayed(f"'${rest[:2]}' {NOT_PLAYED}")
            self._add("$")
            return
        self.at += len(name) + 2 * braced
        self._add(self.variables.get(name, ""))

    def _symbol(self, here: str) -> None:
        pair = self.line[self.at : self.at + 2]
        if here in "<>":
            self._redirection(pair)
            return
        text = pair if pair in {"&&", "||"} else here
        if text in {"&", "(", ")"}:
            raise NotPlayed(f"{text!r} {NOT_PLAYED}")
        self._end()
        self.at += len(text)
        self._operator(text)

    def _redirection(self, pair: str) -> None:
        stream = ""
        if self.word is not None and self.word in {"0", "1", "2"} and not self.quoted:
            stream, self.word = self.word, None
        self._end()
        kind = pair if pair in {">>", "<<", ">&"} else pair[0]
        if self.line[self.at : self.at + 3] in {"<<<", "<<-"} or pair in {"<(", ">(", ">|", "<&", "<>"}:
            raise NotPlayed(f"{self.line[self.at : self.at + 3]!r} {NOT_PLAYED}")
        self.at += len(kind)
        token = Token((stream or ("0" if kind[0] == "<" else "1")) + kind, operator=True)
        self.tokens.append(token)
        if kind == "<<":
            self.documents.append(token)

    def _read_documents(self) -> None:
        for token in self.documents:
            where = next(at for at, one in enumerate(self.tokens) if one is token) + 1
            mark = self.tokens[where]
            lines: list[str] = []
            while True:
                if self.at >= len(self.line):
                    raise NotPlayed("a here-document without its end " + NOT_PLAYED)
                end = self.line.find("\n", self.at)
                end = len(self.line) if end < 0 else end
                text, self.at = self.line[self.at : end], end + 1
                if text == mark.text:
                    break
                lines.append(text + "\n")
            if not mark.quoted and any("$" in one or "`" in one for one in lines):
                raise NotPlayed("a here-document with variables " + NOT_PLAYED)
            mark.text = "".join(lines)
        self.documents.clear()

    def _add(self, text: str, *, quoted: bool = False) -> None:
        self.word = (self.word or "") + text
        self.quoted = self.quoted or quoted

    def _end(self) -> None:
        if self.word is not None:
            self.tokens.append(Token(self.word, self.quoted))
        self.word, self.quoted = None, False

    def _operator(self, text: str) -> None:
        self.tokens.append(Token(text, operator=True))


def parse(line: str, variables: dict[str, str] | None = None) -> list[Pipeline]:
    """NotPlayed or ValueError say what is wrong with the line."""
    tokens = [*_Lexer(line, variables or {}).run(), Token(";", operator=True)]
    found: list[Pipeline] = []
    operator, commands, words = "", list[Simple](), list[Token]()
    for token in tokens:
        if not token.operator or token.text not in OPERATORS:
            words.append(token)
            continue
        if words:
            commands.append(_simple(words))
            words = []
        elif token.text not in {";", "\n"} or (commands and token.text == ";"):
            raise NotPlayed(f"syntax error near unexpected token `{token.text.strip() or 'newline'}'")
        if token.text == "|" or (token.text == "\n" and not commands):
            continue
        if commands:
            found.append(_pipeline(operator, commands))
        operator, commands = token.text.replace("\n", ";"), []
    return found


def _pipeline(operator: str, commands: list[Simple]) -> Pipeline:
    first = commands[0]
    negated = first.words[0] == "!"
    if negated:
        if len(first.words) == 1:
            raise NotPlayed("syntax error near unexpected token `newline'")
        commands = [Simple(first.words[1:], first.redirections), *commands[1:]]
    return Pipeline(operator, tuple(commands), negated)


def _simple(tokens: list[Token]) -> Simple:
    words: list[str] = []
    redirections: list[Redirection] = []
    rest = iter(tokens)
    for token in rest:
        if not token.operator:
            if not words and not token.quoted and token.text in REFUSED_WORDS:
                raise NotPlayed(f"{token.text!r} {NOT_PLAYED}")
            words.append(token.text)
            continue
        target = next(rest, None)
        if target is None or target.operator:
            raise NotPlayed("syntax error near unexpected token `newline'")
        if token.text[1:] == ">&" and target.text not in {"1", "2"}:
            raise NotPlayed(f"'>&{target.text}' {NOT_PLAYED}")
        redirections.append(Redirection(int(token.text[0]), token.text[1:], target.text))
    if not words:
        raise NotPlayed("a redirection without a command " + NOT_PLAYED)
    return Simple(tuple(words), tuple(redirections))
