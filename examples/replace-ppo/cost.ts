/** What training took. */
export interface Cost {
  /** Of training alone: loading, saving and judging are left out. */
  readonly seconds: number;
  /** The most that the process ever had resident, Node itself included. */
  readonly peakMebibytes: number;
}
