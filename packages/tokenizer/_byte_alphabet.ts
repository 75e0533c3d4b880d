/**
 * GPT-2's reversible byte alphabet: printable Latin-1 bytes stand for themselves, the other 68 bytes are shifted to
 * the characters from U+0100 on, so that every token of a byte-level vocabulary is a printable string.
 */
export const byteCharacters: ReadonlyArray<string> = alphabet();

const encoder = new TextEncoder();

/** The UTF-8 bytes of `text`, spelled in the byte alphabet. */
export function toByteCharacters(text: string): string {
  let spelled = "";
  for (const byte of encoder.encode(text)) spelled += byteCharacters[byte]!;
  return spelled;
}

function alphabet(): Array<string> {
  let shifted = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : shifted++);
  });
}
