/** The words of a text in lower case; inner apostrophes and hyphens belong to the word. */
export function words(text: string): Array<string> {
  return text.toLowerCase().match(/[a-z]+(?:['’-][a-z]+)*/g) ?? [];
}
