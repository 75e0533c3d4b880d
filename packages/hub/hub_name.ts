/** A repository of models on the Hub, and which of its states. */
export interface HubName {
  /** `owner/name` */
  readonly repository: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
}

const part = /^(?!.*\.\.)[A-Za-z0-9][\w.-]{0,95}$/;
/** Becomes a path in the cache. */
const revisionPart = /^(?!\.+$)[\w.-]+$/;

/** Reads `owner/name` or `owner/name@revision`, without a revision the branch `main`; undefined for anything else. */
export function parseHubName(text: string): HubName | undefined {
  const [repository = "", ...rest] = text.split("@");
  const [owner = "", name = "", ...more] = repository.split("/");
  const [revision = "main", ...tooMany] = rest;
  const fits =
    more.length === 0 &&
    tooMany.length === 0 &&
    [owner, name].every((each) => part.test(each)) &&
    revision.split("/").every((each) => revisionPart.test(each));
  return fits ? { repository, revision } : undefined;
}

/** A commit never changes: what is known of it need not be asked again. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}
