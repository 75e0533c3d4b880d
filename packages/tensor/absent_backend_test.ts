import * as tf from "@tensorflow/tfjs-core";
import { expect, it, vi } from "vitest";
import { BackendUnavailable, useBackend } from "./backend.ts";

vi.mock("@tensorflow/tfjs-backend-wasm", () => {
  throw new Error("Cannot find package '@tensorflow/tfjs-backend-wasm'");
});

it("says what to install where the wasm backend is not", async () => {
  const outcome = await useBackend("wasm").catch((error: unknown) => error);
  expect(outcome).toBeInstanceOf(BackendUnavailable);
  expect((outcome as BackendUnavailable).message).toContain("npm i @tensorflow/tfjs-backend-wasm");
  expect(tf.findBackend("wasm")).toBeFalsy();
});
