import * as ByteSize from "effect/ByteSize";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Layer from "effect/Layer";
import * as Path from "effect/Path";

/**
 * A browser has no files, so those of a checkpoint are fetched, and a file system that holds nothing else makes
 * `loadCheckpoint` and `loadTokenizer` find them in the folder `url`.
 */
export async function fetchedFolder(url: string, names: ReadonlyArray<string>) {
  const fetched = await Promise.all(
    names.map(async (name): Promise<[string, Uint8Array]> => {
      const response = await fetch(`${url}/${name}`);
      if (!response.ok)
        throw new Error(`Cannot fetch ${response.url}: ${response.status} ${response.statusText}`);
      return [`${url}/${name}`, new Uint8Array(await response.arrayBuffer())];
    }),
  );
  const files = new Map(fetched);
  const folder = FileSystem.layerNoop({
    exists: (path) => Effect.succeed(path === url || files.has(path)),
    readFileString: (path) => Effect.sync(() => new TextDecoder().decode(files.get(path))),
    open: (path) => Effect.sync(() => opened(files.get(path)!)),
  });
  return Layer.merge(folder, Path.layer);
}

function opened(bytes: Uint8Array): FileSystem.File {
  const readOnly = Effect.die(new Error("this file is only read, at given positions"));
  return {
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    stat: Effect.succeed({ size: ByteSize.bytes(bytes.length) } as FileSystem.File.Info),
    read: (buffer, { position = 0n } = {}) =>
      Effect.sync(() => {
        const part = bytes.subarray(Number(position), Number(position) + buffer.length);
        buffer.set(part);
        return part.length;
      }),
    sync: Effect.void,
    readAlloc: () => readOnly,
    seek: () => readOnly,
    truncate: () => readOnly,
    write: () => readOnly,
    writeAll: () => readOnly,
  };
}
