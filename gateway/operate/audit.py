"""``audit verify``: is the audit what was written? Needs no running gateway and no private key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.config.load import load
from gateway.config.model import Config, KeyPurpose
from gateway.edge.auditcheck import AuditReport, check_audit
from gateway.edge.auditheads import line_digest, load_audit_key
from gateway.edge.observe import rfc3339
from gateway.operate.output import Exit, Settings, answer, command_options


@click.group()
def audit() -> None:
    """See whether the audit is what was written."""


@audit.command()
@click.option(
    "--public-key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Believe this audit key (PEM) alone, kept where nobody of this host writes.  [default: those of the configuration]",
)
@command_options
@click.pass_context
def verify(context: click.Context, settings: Settings, public_key: Path | None) -> None:
    """Check every line, every segment and every signed record of heads; say what was changed, removed, cut off or is missing."""
    config = load(settings.config)
    folder = config.state / "audit"
    report = check_audit(folder, _keys(config, public_key))
    answer(settings, _data(folder, report), _lines(folder, report))
    context.exit(Exit.NO if report.findings else Exit.DONE)


def _keys(config: Config, given: Path | None) -> dict[str, rsa.RSAPublicKey]:
    """The audit keys that are believed, retired ones too."""
    audit_keys = {name: key.public_key for name, key in config.key.items() if key.purpose is KeyPurpose.AUDIT}
    try:
        return {name: load_audit_key(given or path) for name, path in audit_keys.items() if path is not None}
    except ValueError as error:
        raise click.UsageError(f"{given or 'an audit key'}: {error}") from error


def _data(folder: Path, report: AuditReport) -> dict[str, Any]:
    last = report.last
    return {
        "folder": str(folder),
        "intact": not report.findings,
        "segments": report.segments,
        "lines": report.lines,
        "records": report.records,
        "last": None
        if last is None
        else {"record": last.record.seq, "at": rfc3339(last.record.at), "key": last.record.key, "digest": line_digest(last.line())},
        "beyond": report.beyond,
        "findings": [
            {"what": str(each.what), "file": each.file, "line": each.line or None, "detail": each.detail}
            for each in report.findings
        ],
    }


def _lines(folder: Path, report: AuditReport) -> list[str]:
    lines = [f"{folder}: {report.lines} lines in {report.segments} segments, {report.records} records of their heads"]
    if report.last is not None:
        record = report.last.record
        lines.append(f"last signed {rfc3339(record.at)} with {record.key}: record {record.seq}, {line_digest(report.last.line())}")
    if report.beyond:
        lines.append(
            f"{sum(report.beyond.values())} lines in {len(report.beyond)} segments came after that, and are not signed yet"
        )
    for each in report.findings:
        place = f"{each.file}:{each.line}" if each.line else each.file
        lines.append(f"{each.what}: {place}: {each.detail}")
    lines.append("not intact" if report.findings else "intact")
    return lines
