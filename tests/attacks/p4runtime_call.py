"""Calls a switch over P4Runtime as each of some identities: `ADDRESS FOLDER...`, where `-` is nobody.

A line for each: `primary`, or why not. Between two of them it waits for a line on its input.
"""

import asyncio
import sys
from pathlib import Path

from controller.switches.p4runtime import Connection, Program, SwitchError
from hitless.tls import Identity


async def call(address: str, tls: Identity | None) -> str:
    try:
        async with Connection("s1", address, 1, SCHEMA, tls) as connection:
            await connection.become_primary()
            return "primary"
    except SwitchError as error:
        return str(error)


SCHEMA = Program.compiled().schema()
for folder in sys.argv[2:]:
    sys.stdin.readline()
    print(asyncio.run(call(sys.argv[1], None if folder == "-" else Identity(Path(folder)))), flush=True)
