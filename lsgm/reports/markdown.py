"""Tables in Markdown."""


def markdown_table(
    header: list[str], rows: list[list[str]], *, texts: int
) -> list[str]:
    """Lines of a table; the first ``texts`` columns are text, others numbers."""
    numbers = len(header) - texts
    rule = ["---"] * texts + ["---:"] * numbers
    return [f"| {' | '.join(cells)} |" for cells in [header, rule, *rows]]
