// What the service answers, as far as the page shows it; /docs has all of it.

export interface Reason {
  kind: string;
  text: string;
  value: number | null;
  item_id: string | null;
}

export interface RankedItem {
  item_id: string;
  title: string | null;
  score: number | null;
  liked: number | null;
  sources: string[];
  features: "full" | "text_only" | "none";
  cold: boolean;
  reasons: Reason[];
  columns: Record<string, Value> | null;
}

export interface Understood {
  column: string;
  value: string;
  sense: string;
}

export interface Recommendations {
  user_id: string;
  items: RankedItem[];
  n_candidates: number;
  user: "known" | "profile_only" | "unknown";
  degraded: boolean;
  reasons: string[];
  latency_ms: number;
  portrait: string | null;
  model: string | null;
  understood?: Understood[];
  is_chance: boolean;
}

export interface PastEvent {
  item_id: string;
  title: string | null;
  value: number | null;
  positive: boolean;
  event_timestamp: string;
  columns: Record<string, Value>;
}

export interface UserHistory {
  user_id: string;
  user: Recommendations["user"];
  events: PastEvent[];
}

export interface FoundUser {
  user_id: string;
  n_items: number;
}

export type Value = string | number | boolean | string[] | null;

export interface ItemRecord {
  item: { item_id: string } & Record<string, Value>;
  attributes: Record<string, Value>;
  statistics: Record<string, Value>;
  title: string | null;
  is_available: boolean;
  is_encoded: boolean;
}

export interface SimilarItem {
  item_id: string;
  title: string | null;
  cosine: number;
}

export interface Outcome {
  status: "accepted" | "duplicate" | "rejected";
  reason: string | null;
}

export interface Submission {
  outcomes: Outcome[];
  applied: boolean;
}

export interface Durations {
  n: number;
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
}

export interface Dataset {
  name: string;
  n_items: number;
  explicit: boolean;
  rated: boolean;
  value_range: [number, number] | null;
  event_types: string[];
  columns: { name: string; kind: string }[];
  categorical: string[];
  objective: { satisfaction: number; value: number };
  variety: { diversity: number; max_per: Record<string, number> };
  repeats: boolean;
}

export interface ModelVersion {
  name: string;
  share: number;
  is_shadow: boolean;
}

export interface Status {
  is_ready: boolean;
  missing: string | null;
  version: string;
  encoder: string;
  data: string;
  dataset: Dataset;
  models: ModelVersion[];
  freshness: { prepared_age_s: number | null; materialized_age_s: Record<string, number> };
  redis: { is_refusing: boolean; n_failed: number; reads: Durations; writes: Durations };
  cache: { n_hits: number; n_misses: number; size: number };
  events: {
    n_accepted: number;
    n_duplicate: number;
    n_rejected: number;
    n_pending: number;
    is_stuck: boolean;
    is_behind: boolean;
  };
  journal: { live: number; archive: number; is_failing: boolean; disk_free: number };
  latency: Record<string, Durations>;
  degraded: Record<string, number>;
  n_in_flight: number;
}
