import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";

/** Why the rest of a file cannot be read, and what to do about it. */
export class Unreadable extends Error {
  readonly remedy: string;
  constructor(problem: string, remedy: string) {
    super(problem);
    this.remedy = remedy;
  }
}

export const notUtf8 = "expected UTF-8 text, found other bytes";

const chunkBytes = 1 << 18;
/** Text packs to a tenth, highly repetitive text to a hundredth; a file of zeros to a thousandth. */
const bombRatio = 300;
/** Small files may unpack to what they like. */
const bombFloor = 64 * 2 ** 20;

/**
 * The bytes of a file in chunks, unpacked when it is gzipped, which shows in its first bytes.
 *
 * @throws Unreadable (while reading) when it cannot be read, is cut short, or unpacks to more than any text would
 */
export async function* readBytes(file: string): AsyncGenerator<Buffer> {
  const head = await firstBytes(file, 2);
  const source = createReadStream(file, { highWaterMark: chunkBytes });
  try {
    if (head[0] !== 0x1f || head[1] !== 0x8b) {
      yield* source;
      return;
    }
    const packed = Readable.from(source);
    const gunzip = createGunzip({ chunkSize: chunkBytes });
    packed.on("error", (error) => gunzip.destroy(error));
    let unpacked = 0;
    for await (const chunk of packed.pipe(gunzip)) {
      unpacked += chunk.length;
      if (unpacked > bombFloor && unpacked > bombRatio * Math.max(source.bytesRead, 1)) {
        throw new Unreadable(
          `the gzip file unpacks to more than ${bombRatio} times its size, as no text does`,
          "unpack it with a tool of your own if you trust it",
        );
      }
      yield chunk;
    }
  } catch (error) {
    throw unreadable(error);
  } finally {
    source.destroy();
  }
}

/** The first bytes of a file as they are stored. */
export async function firstBytes(file: string, count: number): Promise<Buffer> {
  try {
    const handle = await open(file);
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(count), 0, count, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw unreadable(error);
  }
}

/** Whatever went wrong while a file was read, in words. */
export function unreadable(error: unknown): Unreadable {
  if (error instanceof Unreadable) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return new Unreadable("there is no such file or folder", "check the path");
  if (code?.startsWith("Z_")) {
    return new Unreadable(
      `the gzip file cannot be unpacked: ${message}`,
      "copy it again from its source: it may be cut short",
    );
  }
  return new Unreadable(`cannot be read (${code ?? message})`, "check the path and its permissions");
}
