"""Many commands at once, each with a time limit."""

import asyncio

from cabana import AsyncSandbox


async def main() -> None:
    async with await AsyncSandbox.create() as box:
        results = await asyncio.gather(*(box.exec(f"echo {number}", timeout=60) for number in range(3)))
        print([result.stdout.strip() for result in results])


asyncio.run(main())
