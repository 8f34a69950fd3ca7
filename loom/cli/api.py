"""`loom api`: the HTTP API's own description."""

from __future__ import annotations

import click

from loom.cli import output, profile


@click.command()
@click.option("--routes", is_flag=True, help="Only a line for each request that it takes.")
def api(routes: bool) -> None:
    """Print the description of the HTTP API, in OpenAPI 3.1.

    The page to try it on is at /api/docs of the same server.

    \b
    loom api >openapi.json
    loom api --routes
    """
    with profile.current().client() as client:
        document = client.document()
    if not routes:
        output.as_json(document)
        return
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            click.echo(f"{method.upper():6} {path}  {operation['summary']}")
