import { fold, type Key, uniforms } from "@rlhf/core/random";

/** True for a share of all names, always for the same. */
export function byLot(key: Key, name: string, share: number): boolean {
  return uniforms(fold(fold(key, "lot"), name), 1)[0]! < share;
}
