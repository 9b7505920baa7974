// The service that this page comes from: its answers, and what it refuses.

import type * as shapes from "./shapes";

const KEY = "api-key"; // of this tab alone: it ends with the tab

export interface FieldProblem {
  field: string;
  detail: string;
  position: number | null;
}

export class Problem extends Error {
  constructor(
    readonly status: number,
    detail: string,
    readonly errors: FieldProblem[] = [],
    readonly requestId = "",
  ) {
    super(detail);
  }

  of(field: string): FieldProblem | undefined {
    return this.errors.find((each) => each.field === `body.${field}`);
  }
}

export function keepKey(key: string): void {
  sessionStorage.setItem(KEY, key);
}

async function ask<T>(path: string, body?: object, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers["X-API-Key"] = key;
  if (body) headers["Content-Type"] = "application/json";
  const sent: RequestInit = { method: body ? "POST" : "GET", headers, signal: signal ?? null };
  if (body) sent.body = JSON.stringify(body);
  let answer: Response;
  try {
    answer = await fetch(path, sent);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "The service does not answer. Is it running?");
  }
  const found = await answer.json().catch(() => null);
  if (answer.ok && found) return found as T;
  const detail = found?.detail ?? `The service answered ${answer.status}.`;
  throw new Problem(answer.status, detail, found?.errors ?? [], found?.request_id ?? "");
}

/** What is asked of /recommend; what is undefined is as the data set says. */
export interface Wish {
  user_id: string;
  n: number;
  query?: string;
  filter?: string;
  diversity?: number;
  max_per?: Record<string, number>;
  objective?: { satisfaction?: number; value?: number };
  model?: string;
  session?: string[];
}

export interface EventOfUser {
  user_id: string;
  item_id: string;
  value?: number;
  event_type?: string;
}

const named = encodeURIComponent;

/** 128 random bits; randomUUID is missing where the page came over plain HTTP. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const service = {
  status: (signal?: AbortSignal) => ask<shapes.Status>("/status", undefined, signal),
  recommend: (wish: Wish, signal?: AbortSignal) =>
    ask<shapes.Recommendations>("/recommend", { ...wish, debug: true }, signal),
  history: (userId: string, signal?: AbortSignal) =>
    ask<shapes.UserHistory>(`/users/${named(userId)}/history?n=50`, undefined, signal),
  users: (prefix: string, signal?: AbortSignal) =>
    ask<{ users: shapes.FoundUser[] }>(`/users?prefix=${named(prefix)}`, undefined, signal),
  item: (itemId: string, signal?: AbortSignal) =>
    ask<shapes.ItemRecord>(`/items/${named(itemId)}`, undefined, signal),
  similar: (itemId: string, signal?: AbortSignal) =>
    ask<{ items: shapes.SimilarItem[] }>("/similar", { item_id: itemId, n: 10 }, signal),
  /** One event that happened now, and a short wait until recommendations follow it. */
  post: (event: EventOfUser) =>
    ask<shapes.Submission>("/events", {
      events: [{ ...event, event_id: newId(), event_timestamp: new Date().toISOString() }],
      wait_ms: 2000,
    }),
};
