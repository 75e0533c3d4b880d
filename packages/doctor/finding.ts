/** What one self-test found. */
export interface Finding {
  readonly check: string;
  readonly passed: boolean;
  /** What was measured, with its numbers. */
  readonly found: string;
  /** What to do when it did not pass. */
  readonly remedy: string;
}
