import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Tarball } from "./tarballs.ts";

export interface Registry {
  readonly url: string;
  readonly close: () => void;
}

/** A registry of just these tarballs: what npm asks for when it installs a package of the scope. */
export async function startRegistry(tarballs: ReadonlyArray<Tarball>): Promise<Registry> {
  const files = new Map(tarballs.map((tarball) => [`/${tarball.folder}.tgz`, readFileSync(tarball.file)]));
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url!);
    const file = files.get(path);
    const asked = tarballs.find(({ name }) => path === `/${name}`);
    if (file) response.end(file);
    else if (asked) response.end(JSON.stringify(packument(asked)));
    else response.writeHead(404).end("{}");
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, close: () => server.close() };

  function packument({ name, version, folder, manifest }: Tarball) {
    const path = `/${folder}.tgz`;
    const integrity = `sha512-${createHash("sha512").update(files.get(path)!).digest("base64")}`;
    const published = { ...manifest, dist: { tarball: url + path, integrity } };
    return { name, "dist-tags": { latest: version }, versions: { [version]: published } };
  }
}
