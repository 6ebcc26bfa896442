/**
 * Hashing of texts for consistent hashing. Not for secrets: who knows it can choose where a key goes.
 *
 * @module
 */

/** The offset and the prime of FNV-1a for 32 bits. */
const OFFSET = 0x811c9dc5;
const PRIME = 0x01000193;

/** Spreads 32 bits evenly; the finaliser of MurmurHash3 (public domain, Austin Appleby). */
export function mix32(bits: number): number {
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/**
 * A number from 0 to 2³²−1 for a text, the same in every process: FNV-1a over its UTF-16 code units, spread by
 * {@linkcode mix32}, because texts that differ only at the end lie close together without.
 */
export function hashText(text: string): number {
  let hash = OFFSET;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), PRIME);
  }
  return mix32(hash);
}
