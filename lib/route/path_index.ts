/**
 * The routes of one host by path: exact paths in a map, prefixes and patterns in a trie of segments,
 * expressions at the node of the segments with which all that they match begins.
 *
 * A lookup walks the trie along the path, tries literal segments before named ones, and looks at
 * what ends at a node on the way back. So what it meets first is the most specific, and a route that
 * fails on its other conditions gives way to the next. Each node is visited at most once.
 *
 * @module
 */

import { Bucket, type Found } from "./bucket.ts";
import type { CompiledPath, PathCondition } from "./compile.ts";
import type { Lookup } from "./lookup.ts";

const SLASH = 0x2f;

/** Routes with one expression. */
interface RegexEntry<E> {
  readonly source: string;
  readonly regex: RegExp;
  readonly literal: string;
  readonly bucket: Bucket<E>;
}

/** Expressions with equally long literal beginnings. */
interface RegexGroup<E> {
  /** Length of the literal beginning, at least that of the slash with which paths begin. */
  readonly length: number;
  readonly entries: RegexEntry<E>[];
}

/** A node with more children than this finds them in a map. */
const MAX_SIBLINGS = 4;

/** The place of a sequence of segments. */
class Node<E> {
  /** The last segment; empty for the root and for named ones. */
  readonly segment: string;
  /** The first child for a literal segment. */
  child: Node<E> | undefined = undefined;
  /** The next child of the same parent. */
  sibling: Node<E> | undefined = undefined;
  /** All children for literal segments, if there are many. */
  children: Map<string, Node<E>> | undefined = undefined;
  /** The child for any segment. */
  named: Node<E> | undefined = undefined;
  /** Routes for this path and all below. */
  open: Bucket<E> | undefined = undefined;
  /** Routes for this path alone. */
  whole: Bucket<E> | undefined = undefined;
  /** Expressions, the longest literal beginning first. */
  regexes: RegexGroup<E>[] | undefined = undefined;

  constructor(segment: string) {
    this.segment = segment;
  }

  get empty(): boolean {
    return this.child === undefined && this.children === undefined && this.named === undefined &&
      this.open === undefined && this.whole === undefined && this.regexes === undefined;
  }

  /** The child for the literal segment `path[start..end)`. */
  find(path: string, start: number, end: number): Node<E> | undefined {
    if (this.children !== undefined) return this.children.get(path.slice(start, end));
    let child = this.child;
    while (
      child !== undefined &&
      (child.segment.length !== end - start || !path.startsWith(child.segment, start))
    ) child = child.sibling;
    return child;
  }

  /** Adds a child for a literal segment. */
  add(child: Node<E>): void {
    if (this.children === undefined) {
      let siblings = 0;
      for (let other = this.child; other !== undefined; other = other.sibling) siblings++;
      if (siblings < MAX_SIBLINGS) {
        child.sibling = this.child;
        this.child = child;
        return;
      }
      this.children = new Map();
      for (let other = this.child; other !== undefined; other = other.sibling) {
        this.children.set(other.segment, other);
      }
      this.child = undefined;
    }
    this.children.set(child.segment, child);
  }

  /** Drops a child for a literal segment. */
  drop(child: Node<E>): void {
    if (this.children !== undefined) {
      this.children.delete(child.segment);
      if (this.children.size === 0) this.children = undefined;
      return;
    }
    let previous: Node<E> | undefined;
    for (let other = this.child; other !== child; other = other?.sibling) previous = other;
    if (previous === undefined) this.child = child.sibling;
    else previous.sibling = child.sibling;
  }
}

/** The index of the routes of one host. */
export class PathIndex<E> {
  #exact: Map<string, Bucket<E>> | undefined = undefined;
  readonly #root = new Node<E>("");

  /** Whether no route is left. */
  get empty(): boolean {
    return this.#exact === undefined && this.#root.empty;
  }

  /** The bucket of a path, made if need be. */
  open(condition: PathCondition): Bucket<E> {
    switch (condition.type) {
      case "exact": {
        const exact = this.#exact ??= new Map();
        let bucket = exact.get(condition.value);
        if (bucket === undefined) exact.set(condition.value, bucket = new Bucket());
        return bucket;
      }
      case "pattern": {
        const node = this.#descend(condition.segments);
        if (condition.open) return node.open ??= new Bucket();
        return node.whole ??= new Bucket();
      }
      case "regex":
        return openRegex(this.#descend(closedSegments(condition.literal)), condition);
    }
  }

  /** Drops the bucket of a path and the nodes that lead to it, as far as they are empty. */
  prune({ condition }: CompiledPath): void {
    if (condition.type === "exact") {
      if (this.#exact?.get(condition.value)?.size === 0) this.#exact.delete(condition.value);
      if (this.#exact?.size === 0) this.#exact = undefined;
      return;
    }
    const segments = condition.type === "pattern"
      ? condition.segments
      : closedSegments(condition.literal);
    prune(this.#root, segments, 0);
  }

  /** The best route that the request matches. */
  match(lookup: Lookup): Found<E> | undefined {
    const { path } = lookup;
    if (this.#exact !== undefined) {
      const found = this.#exact.get(path)?.match(lookup);
      if (found !== undefined) return found;
    }
    const root = this.#root;
    if (path.charCodeAt(0) === SLASH) return search(root, path, 0, lookup);
    // `*`, and the empty path of an absolute target, have no segments.
    return matchRegexes(root.regexes ?? [], lookup, 0, Infinity) ?? root.open?.match(lookup);
  }

  #descend(segments: readonly (string | undefined)[]): Node<E> {
    let node = this.#root;
    for (const segment of segments) {
      if (segment === undefined) {
        node = node.named ??= new Node("");
      } else {
        let child = node.find(segment, 0, segment.length);
        if (child === undefined) node.add(child = new Node(segment));
        node = child;
      }
    }
    return node;
  }
}

/** The best route at or below `node`, to which the segments of `path[0..end)` lead. */
function search<E>(
  node: Node<E>,
  path: string,
  end: number,
  lookup: Lookup,
): Found<E> | undefined {
  const { length } = path;
  if (end < length) {
    const start = end + 1;
    let next = path.indexOf("/", start);
    if (next < 0) next = length;
    const child = node.find(path, start, next);
    if (child !== undefined) {
      const found = search(child, path, next, lookup);
      if (found !== undefined) return found;
    }
    if (node.regexes !== undefined) {
      const found = matchRegexes(node.regexes, lookup, start + 1, Infinity);
      if (found !== undefined) return found;
    }
    if (node.named !== undefined && next > start) {
      const found = search(node.named, path, next, lookup);
      if (found !== undefined) return found;
    }
    if (node.regexes !== undefined) {
      const found = matchRegexes(node.regexes, lookup, start, start);
      if (found !== undefined) return found;
    }
  }
  // A slash at the end of the path makes no difference.
  if (node.whole !== undefined && end >= length - 1) {
    const found = node.whole.match(lookup);
    if (found !== undefined) return found;
  }
  return node.open?.match(lookup);
}

/** The best route among the expressions whose literal beginning has `least` to `most` characters. */
function matchRegexes<E>(
  groups: readonly RegexGroup<E>[],
  lookup: Lookup,
  least: number,
  most: number,
): Found<E> | undefined {
  const { path } = lookup;
  for (const { length, entries } of groups) {
    if (length > most) continue;
    if (length < least) return undefined;
    let best: Found<E> | undefined;
    for (const { literal, regex, bucket } of entries) {
      if (path.startsWith(literal) && regex.test(path)) best = bucket.match(lookup, best);
    }
    if (best !== undefined) return best;
  }
  return undefined;
}

function openRegex<E>(
  node: Node<E>,
  condition: Extract<PathCondition, { type: "regex" }>,
): Bucket<E> {
  const { source, regex, literal } = condition;
  const length = Math.max(literal.length, 1);
  const groups = node.regexes ??= [];
  let group = groups.find((group) => group.length === length);
  if (group === undefined) {
    group = { length, entries: [] };
    groups.push(group);
    groups.sort((a, b) => b.length - a.length);
  }
  let entry = group.entries.find((entry) => entry.source === source);
  if (entry === undefined) {
    entry = { source, regex, literal, bucket: new Bucket() };
    group.entries.push(entry);
  }
  return entry.bucket;
}

/** The segments of the literal beginning of an expression that are surely whole. */
function closedSegments(literal: string): string[] {
  return literal.startsWith("/") ? literal.slice(1).split("/").slice(0, -1) : [];
}

/** Drops what is empty at the node of `segments[index...]` and on the way to it. */
function prune<E>(
  node: Node<E>,
  segments: readonly (string | undefined)[],
  index: number,
): void {
  if (index < segments.length) {
    const segment = segments[index];
    const child = segment === undefined ? node.named : node.find(segment, 0, segment.length);
    if (child === undefined) return;
    prune(child, segments, index + 1);
    if (!child.empty) return;
    if (segment === undefined) node.named = undefined;
    else node.drop(child);
    return;
  }
  if (node.open?.size === 0) node.open = undefined;
  if (node.whole?.size === 0) node.whole = undefined;
  const groups = node.regexes?.map(({ length, entries }) => ({
    length,
    entries: entries.filter((entry) => entry.bucket.size > 0),
  })).filter((group) => group.entries.length > 0);
  node.regexes = groups?.length === 0 ? undefined : groups;
}
