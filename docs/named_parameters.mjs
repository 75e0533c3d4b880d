/**
 * A typedoc plugin: two things that our functions do and typedoc does not expect.
 *
 * A stage is made by `Effect.fn`, whose parameters are one rest tuple, `...args: [input: …]`; they become ordinary
 * ones. And functions take their tensors as fields of one object, `gae({ rewards, values })`, where comments say
 * `@param rewards`; such a line goes to the field.
 */
import { Comment, Converter, ParameterReflection, ReflectionFlag, ReflectionKind } from "typedoc";

/** @param {import("typedoc").Application} app */
export function load(app) {
  // Before typedoc's own pass over comments, which warns of every @param that is no parameter.
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, nameParameters, 1000);
}

/** @param {import("typedoc").Context} context */
function nameParameters({ project }) {
  for (const signature of project.getReflectionsByKind(ReflectionKind.SomeSignature)) {
    const parameters = (signature.parameters ?? []).flatMap((parameter) => spread(parameter, signature));
    if (parameters.length > 0) signature.parameters = parameters;
    const fields = new Map(parameters.flatMap(fieldsOf).map((field) => [field.name, field]));
    // The comment of a constant that holds a function still stands on the constant.
    const comment = signature.comment ?? signature.parent.parent?.comment;
    for (const tag of comment?.getTags("@param") ?? []) {
      const field = fields.get(tag.name?.split(".").at(-1));
      if (field === undefined || parameters.some(({ name }) => name === tag.name)) continue;
      field.comment ??= new Comment(tag.content);
      comment.blockTags = comment.blockTags.filter((other) => other !== tag);
    }
  }
}

/** The members of a rest tuple as parameters; the first takes the place of the tuple. */
function spread(parameter, signature) {
  if (parameter.type?.type !== "tuple") return [parameter];
  return parameter.type.elements.map((each, index) => {
    const { name = parameter.name, element = each, isOptional = false } = each;
    const member =
      index === 0 ? parameter : new ParameterReflection(name, ReflectionKind.Parameter, signature);
    if (index > 0) signature.project.registerReflection(member, undefined, undefined);
    member.name = name;
    member.type = element;
    member.setFlag(ReflectionFlag.Rest, false);
    member.setFlag(ReflectionFlag.Optional, isOptional);
    return member;
  });
}

/** The fields of the object that a parameter is. */
function fieldsOf({ type }) {
  const parts = type?.type === "intersection" ? type.types : [type];
  return parts.flatMap((part) => part?.declaration?.children ?? []);
}
