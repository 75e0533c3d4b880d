import * as Schema from "effect/Schema";
import { expect, it } from "vitest";
import { Count, Share, setting } from "./setting.ts";

const Config = Schema.Struct({
  steps: setting(Count, 10, "Optimizer steps"),
  algorithm: setting(Schema.Literals(["ppo", "dpo"]), "ppo", "Which one"),
  clip: setting(Share, 0.2, "ε"),
});

it("fills in defaults, decoding as well as making", () => {
  expect(Schema.decodeUnknownSync(Config)({ steps: 3 })).toEqual({ steps: 3, algorithm: "ppo", clip: 0.2 });
  expect(Config.make({ clip: 0.1 })).toEqual({ steps: 10, algorithm: "ppo", clip: 0.1 });
});

it("refuses values out of range, all at once", () => {
  const decode = () => Schema.decodeUnknownSync(Config)({ steps: 0, clip: 2 }, { errors: "all" });
  expect(decode).toThrow(/steps[\s\S]*clip/);
});
