/** WGSL programs: what every kernel of this package declares in the same way. */

type Access = "in" | "out" | "inout";
type Element = "f32" | "i32";

/** A program's buffers by name, in the order of their bindings. */
export type Buffers = Readonly<Record<string, `${Access} ${Element}`>>;

/** A WGSL program whose storage buffers and uniforms are known by name. */
export interface Program<
  Names extends string = string,
  Ints extends string = string,
  Floats extends string = string,
> {
  /** Names the program and every constant in its code. */
  readonly key: string;
  readonly buffers: ReadonlyArray<Names>;
  readonly ints: ReadonlyArray<Ints>;
  readonly floats: ReadonlyArray<Floats>;
  readonly code: string;
}

/** Threads of a workgroup, unless a program says otherwise; every device allows this many. */
export const threads = 256;

/**
 * A program whose `main` sees `index`, the number of its workgroup, and `lane`, that of the thread in it; uniforms are
 * the fields of `u`, u32 and f32.
 *
 * @param options.declarations functions, and memory that the workgroup shares
 */
export const program = <
  const B extends Buffers,
  const Ints extends string = never,
  const Floats extends string = never,
>(options: {
  readonly key: string;
  readonly buffers: B;
  readonly ints?: ReadonlyArray<Ints>;
  readonly floats?: ReadonlyArray<Floats>;
  readonly threads?: number;
  readonly declarations?: string;
  readonly main: string;
}): Program<Extract<keyof B, string>, Ints, Floats> => {
  const { ints = [], floats = [], declarations = "" } = options;
  const bindings = Object.entries(options.buffers).map(([name, use], binding) => {
    const [access, element] = use.split(" ");
    const mode = access === "in" ? "read" : "read_write";
    return `@group(0) @binding(${binding}) var<storage, ${mode}> ${name}: array<${element}>;`;
  });
  const fields = [...ints.map((name) => `${name}: u32`), ...floats.map((name) => `${name}: f32`)];
  const code = `
${bindings.join("\n")}
struct Uniforms { ${fields.join(", ")} };
@group(0) @binding(${bindings.length}) var<uniform> u: Uniforms;
const threads = ${options.threads ?? threads}u;
${declarations}
@compute @workgroup_size(${options.threads ?? threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;
  ${options.main}
}`;
  const buffers = Object.keys(options.buffers) as Array<Extract<keyof B, string>>;
  return { key: options.key, buffers, ints, floats, code };
};

/** `sumOver(value, lane)` and `maxOver(value, lane)`: over all threads of the workgroup, known to each of them. */
export const reductions = `
var<workgroup> partial: array<f32, threads>;
fn sumOver(value: f32, lane: u32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = threads / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let total = partial[0];
  workgroupBarrier();
  return total;
}
fn maxOver(value: f32, lane: u32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = threads / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] = max(partial[lane], partial[lane + half]); }
    workgroupBarrier();
  }
  let highest = partial[0];
  workgroupBarrier();
  return highest;
}`;

/** Stands for −∞, which WGSL cannot write. */
export const lowest = "-3.4028234e38";
