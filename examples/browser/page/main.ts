import { type Lesson, type Story, StoryTeller } from "./story_teller.ts";
import { useWasm } from "./wasm_backend.ts";

const get = <E extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as E;
const [form, prompt, write, status] = [
  get("form"),
  get<HTMLInputElement>("prompt"),
  get<HTMLButtonElement>("write"),
  get("status"),
];
const cards = [...document.querySelectorAll("article")];
const preferButtons = cards.map((card) => card.querySelector("button")!);

let stories: ReadonlyArray<Story> = [];

/** One thing at a time: the buttons wait for what was asked for, and what goes wrong is said. */
async function busy(work: () => Promise<void>): Promise<void> {
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  try {
    await work();
  } catch (error) {
    status.textContent = `That went wrong: ${error instanceof Error ? error.message : error}`;
  }
  const differ = stories.length > 0 && stories[0]!.text !== stories[1]!.text;
  for (const button of document.querySelectorAll("button")) button.disabled = false;
  for (const button of preferButtons) button.disabled = !differ;
}

function showStory(card: HTMLElement, beginning: string, ending: string): void {
  const start = document.createElement("span");
  start.className = "prompt";
  start.textContent = beginning;
  card.querySelector("p")!.replaceChildren(start, ending);
}

function showLesson({ step, loss, before, after }: Lesson): void {
  const rows = {
    preferred: [before.preferred, after.preferred],
    other: [before.other, after.other],
    margin: [before.preferred - before.other, after.preferred - after.other],
  };
  const nats = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });
  for (const [id, numbers] of Object.entries(rows)) {
    get(id)
      .querySelectorAll("td")
      .forEach((cell, i) => {
        cell.textContent = nats.format(numbers[i]!).replace("-", "−");
      });
  }
  const widest = Math.max(...rows.margin.map(Math.abs), 1e-6);
  get("bars").replaceChildren(
    ...rows.margin.map((margin) => {
      const [track, bar] = [document.createElement("i"), document.createElement("b")];
      bar.style.left = `${50 + Math.min(0, (50 * margin) / widest)}%`;
      bar.style.width = `${(50 * Math.abs(margin)) / widest}%`;
      track.append(bar);
      return track;
    }),
  );
  get("lesson-title").textContent = `Lesson ${step} · DPO loss ${loss.toFixed(3)}`;
  get("lesson").hidden = false;
}

await busy(async () => {
  const { reason } = await useWasm();
  const teller = await StoryTeller.load("checkpoint");
  const about = `${teller.parameters.toLocaleString("en")} parameters · ${reason}`;
  status.textContent = about;

  const writeStories = async () => {
    const beginning = prompt.value;
    const start = performance.now();
    for (const card of cards) card.classList.remove("preferred");
    stories = await teller.write(beginning, (endings) => {
      for (const [i, card] of cards.entries()) showStory(card, beginning, endings[i]!);
    });
    const tokens = stories.reduce((sum, { response }) => sum + response.tokens.length, 0);
    const speed = tokens / ((performance.now() - start) / 1000);
    status.textContent = `${about} · ${speed.toFixed(0)} tokens a second`;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!write.disabled) void busy(writeStories);
  });
  preferButtons.forEach((button, i) => {
    button.addEventListener("click", () =>
      busy(async () => {
        for (const [j, card] of cards.entries()) card.classList.toggle("preferred", i === j);
        showLesson(await teller.prefer(stories[i]!, stories[1 - i]!));
      }),
    );
  });
  get("forget").addEventListener("click", () => {
    teller.startOver();
    get("lesson").hidden = true;
  });
  await writeStories();
});
