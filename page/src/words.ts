// Numbers, times and names as people read them.

import type { Value } from "./shapes";

const LOCALE = "en";
const COUNT = new Intl.NumberFormat(LOCALE);
const SHORT = new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 3 });
const DAY = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeZone: "UTC" });

export const count = (n: number): string => COUNT.format(n);

export const short = (n: number): string => (Number.isInteger(n) ? COUNT : SHORT).format(n);

export function percent(share: number): string {
  const hundredth = share * 100;
  return `${hundredth < 10 ? hundredth.toFixed(1) : hundredth.toFixed(0)} %`;
}

export function milliseconds(ms: number | null): string {
  if (ms === null) return "–";
  return ms < 10 ? ms.toFixed(1) : COUNT.format(Math.round(ms));
}

export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const at = n < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3));
  return `${SHORT.format(n / 1000 ** at)} ${units[at]}`;
}

export function age(seconds: number | null): string {
  if (seconds === null) return "never";
  const spans: [number, string][] = [
    [86400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
  ];
  const [length, name] = spans.find(([span]) => seconds >= span) ?? [1, "second"];
  const n = Math.max(0, Math.floor(seconds / length));
  return `${COUNT.format(n)} ${name}${n === 1 ? "" : "s"} ago`;
}

export const day = (instant: string): string => DAY.format(new Date(instant));

export const named = (title: string | null, itemId: string): string => title ?? itemId;

export function written(name: string, value: Value): string {
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value !== "number") return String(value);
  if (name.endsWith("_s") && value > 1e8) return new Date(value * 1000).toISOString().slice(0, 10);
  return Number.isInteger(value) && value < 10_000 ? String(value) : short(value); // a year is no 1,977
}

/** What tells two items of one title apart: texts of their columns, then numbers by name. */
export function about(columns: Record<string, Value> | null): string {
  const values = Object.entries(columns ?? {});
  const texts = values.filter(([, value]) => typeof value !== "number");
  const numbers = values.filter(([, value]) => typeof value === "number");
  return [
    ...texts.map(([name, value]) => written(name, value)),
    ...numbers.map(([name, value]) => `${plain(name)} ${written(name, value)}`),
  ].join(" · ");
}

/** item_n_events -> events, item_last_event_s -> last event: features are named for programs. */
export const plain = (name: string): string =>
  name
    .replace(/^(item|user)_(?!id$)(n_)?/, "")
    .replace(/_s$/, "")
    .replaceAll("_", " ");
