import { useWasm } from "../page/wasm_backend.ts";
import { everyPackage } from "./every_package.ts";

Object.assign(globalThis, { result: useWasm().then(everyPackage) });
