import * as Schema from "effect/Schema";

/** One thing wrong with the input: where it is, what it is, how to mend it. */
export const Problem = Schema.Struct({ where: Schema.String, problem: Schema.String, remedy: Schema.String });
export type Problem = typeof Problem.Type;

/** Everything wrong with a config, a flag or a data file, reported at once and before any work starts. */
export class InvalidInput extends Schema.TaggedError<InvalidInput>()("InvalidInput", {
  problems: Schema.Array(Problem),
}) {
  override get message(): string {
    return this.problems.map((p) => `${p.where}: ${p.problem}\n    ${p.remedy}`).join("\n");
  }
}

export class CheckpointNotFound extends Schema.TaggedError<CheckpointNotFound>()("CheckpointNotFound", {
  path: Schema.String,
}) {
  override get message(): string {
    return `No checkpoint at ${this.path}: a folder with config.json and model.safetensors is required, or a name on the Hub such as openai-community/gpt2`;
  }
}

/** A checkpoint could not be written or read back: a full disk, a folder that must not be written to. */
export class CheckpointFailed extends Schema.TaggedError<CheckpointFailed>()("CheckpointFailed", {
  path: Schema.String,
  problem: Schema.String,
  lastGood: Schema.String,
}) {
  override get message(): string {
    return `The checkpoints in ${this.path} cannot be used: ${this.problem}\n    Free space or mend the permissions, then resume the run. The last good checkpoint is intact: ${this.lastGood}`;
  }
}

/** Nothing can be written to the run folder: a read-only or full disk, a file where a folder should be. */
export class RunFolderFailed extends Schema.TaggedError<RunFolderFailed>()("RunFolderFailed", {
  path: Schema.String,
  problem: Schema.String,
}) {
  override get message(): string {
    return `The run folder ${this.path} cannot be written to: ${this.problem}\n    Free space, mend the permissions, or name another folder`;
  }
}

/** Two processes must not write into one run folder. */
export class RunInUse extends Schema.TaggedError<RunInUse>()("RunInUse", {
  path: Schema.String,
  process: Schema.String,
}) {
  override get message(): string {
    return `The run folder ${this.path} is in use by ${this.process}\n    Wait until it has ended, stop it, or name another folder. If it is no run, remove ${this.path}/run.lock`;
  }
}

export class VocabularyMismatch extends Schema.TaggedError<VocabularyMismatch>()("VocabularyMismatch", {
  where: Schema.String,
  expected: Schema.Int,
  found: Schema.Int,
}) {
  override get message(): string {
    return `${this.where}: the model has ${this.expected} token embeddings, the tokenizer has ${this.found} tokens`;
  }
}

/** A loss, gradient or score became NaN or infinite. The run can go on from its last good checkpoint. */
export class NonFiniteLoss extends Schema.TaggedError<NonFiniteLoss>()("NonFiniteLoss", {
  stage: Schema.String,
  step: Schema.Int,
  metric: Schema.String,
  value: Schema.Number,
  lastGood: Schema.String,
}) {
  override get message(): string {
    return `${this.stage} step ${this.step}: ${this.metric} is ${this.value}\n    Lower the learning rate or the gradient-norm limit. The last good checkpoint: ${this.lastGood}`;
  }
}
