"""Tables from the measured cells: medians, and ratios taken within each round."""

import pathlib
import statistics


def of(cells, **wanted):
    """The cells with these attributes, by round."""
    return {cell["round"]: cell for cell in cells if all(cell[name] == value for name, value in wanted.items())}


def ratio(cells, baseline, **wanted):
    """The median over the rounds of this server's value by the baseline's in the same round; None without both."""
    ours, theirs = of(cells, **wanted), of(cells, **{**wanted, "server": baseline})
    ratios = [ours[n]["value"] / theirs[n]["value"] for n in ours.keys() & theirs.keys()]
    return statistics.median(ratios) if ratios else None


def median(cells, name, **wanted):
    values = [cell[name] for cell in of(cells, **wanted).values()]
    return statistics.median(values) if values else None


def figure(value):
    if value is None:
        return "–"
    return f"{value:,.0f}"


def comparison(cells, rows, servers, baseline, content):
    lines = ["| | " + " | ".join(servers) + " |", "|---|" + "---:|" * len(servers)]
    for row in rows:
        line = [f"{row.title}, {row.unit}"]
        for server in servers:
            wanted = {"row": row.key, "server": server, "content": content}
            value, times = median(cells, "value", **wanted), ratio(cells, baseline, **wanted)
            text = figure(value)
            if times is not None and server != baseline:
                text += f" ({times:.2f}x)"
            line.append(text)
        lines.append("| " + " | ".join(line) + " |")
    return lines


def details(cells, rows, servers, content):
    """Latency and cost of each row and server: medians, but of the worst latency and of stalls the worst."""
    lines = [
        "| | server | p50, us | p99, us | p99.9, us | max, ms | over 100 ms | cores | resident, MiB | values of the rounds |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        for server in servers:
            found = list(of(cells, row=row.key, server=server, content=content).values())
            if not found:
                continue
            middle = {name: statistics.median(cell[name] for cell in found) for name in ("p50_us", "p99_us", "p999_us", "cpu_cores")}
            worst = {name: max(cell[name] for cell in found) for name in ("max_us", "stalled_count", "resident_bytes")}
            lines.append(
                f"| {row.key} | {server} | {middle['p50_us']:,.0f} | {middle['p99_us']:,.0f} | {middle['p999_us']:,.0f} "
                f"| {worst['max_us'] / 1e3:,.1f} | {worst['stalled_count']:,} | {middle['cpu_cores']:.2f} "
                f"| {worst['resident_bytes'] / (1 << 20):,.0f} | {', '.join(figure(cell['value']) for cell in found)} |"
            )
    return lines


def markdown(result, rows, contents):
    """The whole section. `result` is what the JSON file holds."""
    cells, servers, baseline = result["cells"], result["servers"], result["baseline"]
    lines = [f"Measured {result['date']} at commit {result['commit']} by `{result['command']}`.", ""]
    lines += [f"- {what}: {value}" for what, value in result["machine"]]
    lines += [f"- {note}" for note in result["notes"]]
    for content in contents:
        present = [server for server in servers if of(cells, server=server, content=content.key)]
        if not present:
            continue
        lines += ["", f"### {content.title}", ""]
        lines += comparison(cells, rows, present, baseline, content.key)
        lines += ["", "<details><summary>Latency, processor and memory</summary>", ""]
        lines += details(cells, rows, present, content.key)
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def write_into(path, section, tool):
    """Replaces what lies between the tool's markers; a file without them gets the section at its end."""
    begin, end = (f"<!-- {edge}: written by {tool} -->" for edge in ("begin", "end"))
    path = pathlib.Path(path)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if begin in text and end in text:
        before, after = text.split(begin, 1)[0], text.split(end, 1)[1]
    else:
        before, after = (text.rstrip() + "\n\n" if text else ""), "\n"
    path.write_text(f"{before}{begin}\n\n{section}\n{end}{after}", encoding="utf-8")
