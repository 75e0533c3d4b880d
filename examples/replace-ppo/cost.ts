/** What training took. */
export interface Cost {
  /** Of training alone: loading, saving and judging are left out. */
  readonly seconds: number;
  /** Seconds of all its threads, which tell more where a machine has other work too. */
  readonly cpuSeconds: number;
  /** The most that the process ever had resident, Node itself included. */
  readonly peakMebibytes: number;
}
