"""A network that can fail: forwards TCP connections, as a process of its own.

    python3 link.py PORT:TARGET_PORT…

Frozen by SIGSTOP it is a network that loses nothing and delivers it late; killed, one that resets all connections.
"""

import asyncio
import sys


async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(port, target):
    async def connected(reader, writer):
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pipe(reader, onward_writer), pipe(onward_reader, writer))

    await (await asyncio.start_server(connected, "127.0.0.1", port)).serve_forever()


async def main():
    await asyncio.gather(*(serve(*map(int, pair.split(":"))) for pair in sys.argv[1:]))


if __name__ == "__main__":
    asyncio.run(main())
