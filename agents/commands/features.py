"""`insession features`: features and statistics of sessions by SQL, on Spark."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from agents.commands.data_options import DataPath
from agents.commands.spark_options import parse_conf, spark_options
from schemas.errors import UsageError


@click.command(
    epilog="""\b
Examples:
  insession features sessions --out features
  insession features --write-sql sql           # our queries, to read and to change
  insession features sessions --out features --sql sql
"""
)
@click.argument("source", metavar="SESSIONS", type=DataPath(), required=False)
@click.option("--out", metavar="PATH|URL", help="Folder, or s3://BUCKET/PREFIX: where the tables go.")
@click.option(
    "--sql",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the queries, one a .sql file, instead of ours.",
)
@click.option("--write-sql", type=click.Path(file_okay=False, path_type=Path), help="Copy our queries there, and end.")
@spark_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    source: Path | None,
    out: str | None,
    folder: Path | None,
    write_sql: Path | None,
    master: str,
    conf: tuple[str, ...],
    is_replaced: bool,
    as_json: bool,
) -> None:
    """Run each SQL query over SESSIONS, records of session-ends, into a table of Parquet, OUT/<name of the query>.

    A query sees the views `sessions` (also of bots) and `events` (of people); `--write-sql` shows how.
    """
    from agents.batch.features_job import packaged_queries, queries_in, run_features
    from agents.batch.published import result_folder
    from agents.batch.spark_session import spark_session
    from agents.batch.task_bar import task_bar

    if write_sql is not None:
        _copy(packaged_queries(), write_sql)
        return
    if source is None or out is None:
        raise UsageError("name SESSIONS and --out, or --write-sql alone; see insession features --help")
    queries = packaged_queries() if folder is None else queries_in(folder)
    with (
        result_folder(out, master, is_replaced=is_replaced) as result,
        spark_session("features", master, parse_conf(conf)) as spark,
        task_bar(spark, "features"),
    ):
        manifest = run_features(spark, source, result, queries, is_replaced=is_replaced)
    if as_json:
        click.echo(json.dumps(manifest, indent=2))
        return
    table = Table("table", "rows", title=f"features in {out}")
    for name, facts in manifest["tables"].items():
        table.add_row(name, f"{facts['rows']:,}")
    Console().print(table)


def _copy(queries: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    there = next((folder / f"{name}.sql" for name in queries if (folder / f"{name}.sql").exists()), None)
    if there is not None:
        raise UsageError(f"{there} is there already; name another folder")
    for name, query in queries.items():
        (folder / f"{name}.sql").write_text(query)
        click.echo(folder / f"{name}.sql")
