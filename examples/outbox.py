"""Executions and steps that are committed with your own rows: `python examples/outbox.py postgresql://…`.

Makes the tables `orders` and `invoices` in that database, and Stepwell's own in the schema `stepwell`.
"""

import asyncio
import sys

import asyncpg

from stepwell import Context, Engine, Handle, Workflow, activity, succeed
from stepwell.storage.postgres import PostgresStorage

TABLES = """
    CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS invoices (id serial PRIMARY KEY, order_id integer REFERENCES orders)"""


@activity(transactional=True)
async def invoice(ctx: Context[int]) -> int:
    return await ctx.connection.fetchval("INSERT INTO invoices (order_id) VALUES ($1) RETURNING id", ctx.input)


@succeed
def invoiced(ctx: Context[int]) -> int:
    return ctx.output(invoice)


billing = Workflow[int, int]("billing", version="1", start=invoice, edges=[invoice.then(invoiced)])


async def place_order(engine: Engine, connection: asyncpg.Connection) -> Handle[int]:
    async with connection.transaction():
        order = await connection.fetchval("INSERT INTO orders DEFAULT VALUES RETURNING id")
        return await engine.start(billing, order, id=f"billing:{order}", connection=connection)


async def main(dsn: str) -> None:
    async with PostgresStorage(dsn) as storage, Engine(storage, workflows=[billing]) as engine, engine.worker():
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(TABLES)
            execution = await place_order(engine, connection)
        finally:
            await connection.close()
        print(f"{execution.id}: invoice {await execution.result()}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))
