"""A Modelfile as Ollama reads it (the states of its parser/parser.go), and the part of Go's templates that is used."""

import re

COMMANDS = {"from", "license", "template", "system", "adapter", "parameter", "message"}
ACTION = re.compile(r"\{\{(-?) ?(.*?) ?(-?)\}\}", re.DOTALL)


def parse(text):
    """(command, value) of each instruction; a parameter's command is its name. Raises ValueError."""
    found, state, name, buffer, first = [], "nil", "", "", True
    for letter in [*text, ""]:
        newline, space = letter in ("\n", "\r"), letter in (" ", "\t")
        if state == "nil":
            if letter == "#":
                state = "comment"
            elif not (newline or space or not letter):
                state, buffer = "name", letter
        elif state == "comment":
            state = "nil" if newline else state
        elif state in ("name", "parameter"):
            if letter.isalnum() or letter == "_":
                buffer += letter
            elif not space:
                raise ValueError(f"{buffer}{letter!r} is no command")
            elif state == "name" and buffer.lower() == "parameter":
                state, buffer = "parameter", ""
            else:
                if state == "name" and buffer.lower() not in COMMANDS:
                    raise ValueError(f"{buffer} is no command")
                state, name, buffer = "value", buffer.lower(), ""
        else:
            if newline or not letter:
                value = unquoted(buffer.strip())
                if value is not None:
                    found.append((name, value))
                    state, buffer = "nil", ""
                    continue
                if not letter:
                    raise ValueError(f"{name}: an open quote")
            if letter in "\n\t " or letter.isprintable():  # what is not printed is dropped
                buffer += letter
        first = False
    if state not in ("nil", "comment") or first or "from" not in dict(found):
        raise ValueError("no FROM line, or an unfinished one")
    return found


def unquoted(value):
    """What the quotes hold; None where they are open."""
    for mark in ('"""', '"'):
        if value.startswith(mark):
            return value[len(mark) : -len(mark)] if len(value) >= 2 * len(mark) and value.endswith(mark) else None
    return value


def rendered(template, messages):
    """What Ollama makes of a conversation: `.System` is all of its system messages, `.Messages` all of them."""
    tokens, at = [], 0
    for match in ACTION.finditer(template):
        before = template[at : match.start()]
        if tokens and tokens[-1][0] == "trim":
            tokens.pop()
            before = before.lstrip()
        tokens.append(("text", before.rstrip() if match[1] else before))
        tokens.append(("do", match[2].strip()))
        tokens += [("trim", "")] if match[3] else []
        at = match.end()
    tokens.append(("text", template[at:]))
    system = "\n\n".join(one["content"] for one in messages if one["role"] == "system")
    root = {"System": system, "Messages": [{"Role": one["role"], "Content": one["content"]} for one in messages]}
    nodes, rest = _nodes(tokens)
    assert not rest
    return "".join(_run(nodes, root, {"$": root, ".": root}))


def _nodes(tokens):
    """The nodes up to the end of a block, and what follows: texts, values, ranges, and ifs with their branches."""
    nodes = []
    while tokens:
        (kind, text), *tokens = tokens
        if kind == "text":
            nodes.append(("text", text))
        elif text.split(" ")[0] in ("end", "else"):
            return nodes, [(kind, text), *tokens]
        elif text.startswith(("if ", "range ")):
            word, _, rest = text.partition(" ")
            branches, condition = [], rest
            while True:
                inner, ((_, ending), *tokens) = _nodes(tokens)
                branches.append((condition, inner))
                if ending == "end":
                    break
                condition = ending.removeprefix("else").strip().removeprefix("if ") or "true"
            nodes.append((word, branches))
        else:
            nodes.append(("value", text))
    return nodes, []


def _run(nodes, root, names):
    for kind, what in nodes:
        if kind == "text":
            yield what
        elif kind == "value":
            yield str(_value(what, names))
        elif kind == "if":
            for condition, inner in what:
                if condition == "true" or _value(condition, names):
                    yield from _run(inner, root, names)
                    break
        else:
            (head, inner), = what
            variables, _, over = head.partition(" := ")
            index, each = variables.split(", ")
            for number, message in enumerate(_value(over, names)):
                yield from _run(inner, root, {**names, index: number, each: message, ".": message})


def _value(text, names):
    words = re.findall(r'"[^"]*"|\([^()]*\)|\S+', text)
    if words[0] in ("eq", "and", "not"):
        values = [_value(word, names) for word in words[1:]]
        return {"eq": lambda: values[0] == values[1], "and": lambda: all(values), "not": lambda: not values[0]}[
            words[0]
        ]()
    word, = words
    if word.startswith("("):
        return _value(word[1:-1], names)
    if word.startswith('"'):
        return word[1:-1]
    if word.isdecimal():
        return int(word)
    first, *fields = word.split(".")
    value = names[first or "."]
    for field in fields:
        value = value[field]
    return value
