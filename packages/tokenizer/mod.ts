export * from "./chat_template.ts";
export * from "./load.ts";
export * from "./offsets.ts";
export * from "./special_tokens.ts";
export * from "./stream_decoder.ts";
export * from "./tokenizer.ts";
export * from "./tokenizer_json.ts";
export * from "./train.ts";
