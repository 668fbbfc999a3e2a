"""What GitHub's runner does with the lines of a job's output."""


def obeyed(text):
    """What a runner of GitHub Actions would take a line for: actions/runner, src/Runner.Common/ActionCommand.cs."""
    start = text.strip()
    if start.startswith("::") and "::" in start[2:]:
        return start[2:].split("::")[0].split(" ")[0]
    found = text.find("##[")
    return text[found + 3 : text.index("]", found)] if found >= 0 and "]" in text[found:] else None
