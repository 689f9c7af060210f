// Element-wise loops of training, each merged into one pass; native.py builds this file and calls it.
//
// Real is the type of the arithmetic and of sums; Low is the type in which matrix products come and go (bfloat16, or
// Real itself). Matrices are row by row; where a row stride is named, rows may lie apart. Shapes: B rows, H units,
// S source pieces, A size of a key, M size of an encoder state, V vocabulary, T positions.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

using Index = int64_t;

struct bfloat16 {
    uint16_t bits;
};

inline float load(bfloat16 x) {
    uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline float load(float x) { return x; }
inline double load(double x) { return x; }

inline void store(bfloat16& to, float x) {  // to the nearest, ties to even; NaN stays NaN
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    to.bits = static_cast<uint16_t>(x == x ? rounded : 0x7fc0);
}
inline void store(float& to, float x) { to = x; }
inline void store(double& to, double x) { to = x; }

// tanh by a quotient of polynomials (the coefficients of Eigen's `ptanh`), exact to a few units in the last place; the
// library's function would be called number by number.
inline float tanh_(float x) {
    const float limit = 7.90531110763549805f;
    float a = x < -limit ? -limit : (x > limit ? limit : x);  // NaN passes both comparisons
    float y = a * a;
    float p = -2.76076847742355e-16f;
    p = p * y + 2.00018790482477e-13f;
    p = p * y + -8.60467152213735e-11f;
    p = p * y + 5.12229709037114e-08f;
    p = p * y + 1.48572235717979e-05f;
    p = p * y + 6.37261928875436e-04f;
    p = p * y + 4.89352455891786e-03f;
    float q = 1.19825839466702e-06f;
    q = q * y + 1.18534705686654e-04f;
    q = q * y + 2.26843463243900e-03f;
    q = q * y + 4.89352518554385e-03f;
    return a * p / q;
}
inline double tanh_(double x) { return std::tanh(x); }

inline float exp_(float x) {  // 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Cephes); 0 below -87
    float a = x > 88.0f ? 88.0f : (x < -87.0f ? -87.0f : x);
    float n = __builtin_rintf(a * 1.44269504f);
    float r = a - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, 4);
    return x < -87.0f ? 0.0f : p * scale + (x - x);  // x - x: NaN stays NaN
}
inline double exp_(double x) { return std::exp(x); }

template <class Real>
inline Real sigmoid(Real x) {  // exactly 0 and 1 far out, where padding holds a state (see layers.py)
    Real y = Real(0.5) + Real(0.5) * tanh_(Real(0.5) * x);
    return x > 40 ? Real(1) : (x < -40 ? Real(0) : y);
}

// LSTM: gates i, f, g, o of x and of what recurs -> the activated gates, c_t and h_t.
template <class Real, class Low>
void lstm_forward(Index B, Index H, const Low* from_x, const Low* from_h, const Real* c_before, Real* gates, Real* c,
                  Low* h, Index h_stride, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index b = 0; b < B; b++) {
        const Low *x = from_x + b * 4 * H, *u = from_h + b * 4 * H;
        const Real* old = c_before + b * H;
        Real *out = gates + b * 4 * H, *new_c = c + b * H;
        Low* new_h = h + b * h_stride;
#pragma omp simd
        for (Index j = 0; j < H; j++) {
            Real i = sigmoid<Real>(load(x[j]) + load(u[j]));
            Real f = sigmoid<Real>(load(x[H + j]) + load(u[H + j]));
            Real g = tanh_(Real(load(x[2 * H + j]) + load(u[2 * H + j])));
            Real o = sigmoid<Real>(load(x[3 * H + j]) + load(u[3 * H + j]));
            Real cell = f * old[j] + i * g;
            out[j] = i;
            out[H + j] = f;
            out[2 * H + j] = g;
            out[3 * H + j] = o;
            new_c[j] = cell;
            store(new_h[j], o * tanh_(cell));
        }
    }
}

// d h_t comes in two parts; d c_t is replaced by d c_{t-1}.
template <class Real, class Low>
void lstm_backward(Index B, Index H, const Real* gates, const Real* c_before, const Real* c, const Low* dh,
                   Index dh_stride, const Low* dh_more, Index more_stride, Real* dc, Low* d_gates, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index b = 0; b < B; b++) {
        const Real *in = gates + b * 4 * H, *old = c_before + b * H, *cell = c + b * H;
        const Low *part = dh + b * dh_stride, *more = dh_more + b * more_stride;
        Real* dcell = dc + b * H;
        Low* out = d_gates + b * 4 * H;
#pragma omp simd
        for (Index j = 0; j < H; j++) {
            Real i = in[j], f = in[H + j], g = in[2 * H + j], o = in[3 * H + j];
            Real d = load(part[j]) + load(more[j]);
            Real t = tanh_(cell[j]);
            Real k = dcell[j] + d * o * (1 - t * t);
            store(out[j], k * g * i * (1 - i));
            store(out[H + j], k * old[j] * f * (1 - f));
            store(out[2 * H + j], k * i * (1 - g * g));
            store(out[3 * H + j], d * t * o * (1 - o));
            dcell[j] = k * f;
        }
    }
}

// GRU: gates r, z, n of x, and the state's share of n apart -> r, z, n and that share as it came, and h_t.
template <class Real, class Low>
void gru_forward(Index B, Index H, const Low* from_x, const Low* from_h, const Real* h_before, Real* gates, Real* h,
                 Low* h_low, Index h_stride, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index b = 0; b < B; b++) {
        const Low *x = from_x + b * 4 * H, *u = from_h + b * 4 * H;
        const Real* old = h_before + b * H;
        Real *out = gates + b * 4 * H, *new_h = h + b * H;
        Low* low = h_low + b * h_stride;
#pragma omp simd
        for (Index j = 0; j < H; j++) {
            Real r = sigmoid<Real>(load(x[j]) + load(u[j]));
            Real z = sigmoid<Real>(load(x[H + j]) + load(u[H + j]));
            Real share = load(x[3 * H + j]) + load(u[3 * H + j]);
            Real n = tanh_(Real(load(x[2 * H + j]) + load(u[2 * H + j]) + r * share));
            out[j] = r;
            out[H + j] = z;
            out[2 * H + j] = n;
            out[3 * H + j] = share;
            new_h[j] = (1 - z) * n + z * old[j];
            store(low[j], new_h[j]);
        }
    }
}

// dc: what reaches h_t past the gates of the step after; replaced by the same of h_{t-1}.
template <class Real, class Low>
void gru_backward(Index B, Index H, const Real* gates, const Real* h_before, const Real*, const Low* dh,
                  Index dh_stride, const Low* dh_more, Index more_stride, Real* dc, Low* d_gates, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index b = 0; b < B; b++) {
        const Real *in = gates + b * 4 * H, *old = h_before + b * H;
        const Low *part = dh + b * dh_stride, *more = dh_more + b * more_stride;
        Real* past = dc + b * H;
        Low* out = d_gates + b * 4 * H;
#pragma omp simd
        for (Index j = 0; j < H; j++) {
            Real r = in[j], z = in[H + j], n = in[2 * H + j], share = in[3 * H + j];
            Real d = load(part[j]) + load(more[j]) + past[j];
            Real dn = d * (1 - z) * (1 - n * n);
            store(out[j], dn * share * r * (1 - r));
            store(out[H + j], d * (old[j] - n) * z * (1 - z));
            store(out[2 * H + j], dn);
            store(out[3 * H + j], dn * r);
            past[j] = d * z;
        }
    }
}

// SRU over whole sequences: u [B, T, 3 H] holds the candidate, the forget and the reset gate before their functions,
// v the gates' weights of c_{t-1} [2 H] -> every c_t and h_t [B, T, H]. On padding (mask 0) c stays and h is 0.
template <class Real, class Low>
void sru_forward(Index B, Index T, Index H, const Low* u, const Real* v, const Real* begin, const uint8_t* mask,
                 Real* c, Low* h, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index b = 0; b < B; b++) {
        const Real* old = begin + b * H;
        for (Index t = b * T; t < (b + 1) * T; t++) {
            const Low* x = u + t * 3 * H;
            Real* now = c + t * H;
            Low* out = h + t * H;
            if (mask && !mask[t]) {
                std::memcpy(now, old, H * sizeof(Real));
                std::memset(out, 0, H * sizeof(Low));
            } else {
#pragma omp simd
                for (Index j = 0; j < H; j++) {
                    Real candidate = load(x[j]);
                    Real f = sigmoid<Real>(load(x[H + j]) + v[j] * old[j]);
                    Real r = sigmoid<Real>(load(x[2 * H + j]) + v[H + j] * old[j]);
                    Real cell = candidate + f * (old[j] - candidate);
                    now[j] = cell;
                    store(out[j], r * tanh_(cell));
                }
            }
            old = now;
        }
    }
}

// dc: the gradient of the last c, replaced by that of the first; d v is added to, a sequence each [B, 2 H].
template <class Real, class Low>
void sru_backward(Index B, Index T, Index H, const Low* u, const Real* v, const Real* begin, const uint8_t* mask,
                  const Real* c, const Low* dh, Real* dc, Low* du, Real* dv, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index b = 0; b < B; b++) {
        Real *d = dc + b * H, *sum = dv + b * 2 * H;
        for (Index t = (b + 1) * T - 1; t >= b * T; t--) {
            const Low *x = u + t * 3 * H, *grad = dh + t * H;
            const Real *now = c + t * H, *old = t > b * T ? now - H : begin + b * H;
            Low* out = du + t * 3 * H;
            if (mask && !mask[t]) {
                std::memset(out, 0, 3 * H * sizeof(Low));
                continue;
            }
#pragma omp simd
            for (Index j = 0; j < H; j++) {
                Real f = sigmoid<Real>(load(x[H + j]) + v[j] * old[j]);
                Real r = sigmoid<Real>(load(x[2 * H + j]) + v[H + j] * old[j]);
                Real y = tanh_(now[j]), g = load(grad[j]);
                Real k = d[j] + g * r * (1 - y * y);
                Real df = k * (old[j] - load(x[j])) * f * (1 - f);
                Real dr = g * y * r * (1 - r);
                store(out[j], k * (1 - f));
                store(out[H + j], df);
                store(out[2 * H + j], dr);
                d[j] = k * f + df * v[j] + dr * v[H + j];
                sum[j] += df * old[j];
                sum[H + j] += dr * old[j];
            }
        }
    }
}

template <class Real, class Low>
inline void widen(Index n, const Low* from, Real* to) {
#pragma omp simd
    for (Index j = 0; j < n; j++) to[j] = load(from[j]);
}

template <class Real>
inline void softmax(Index S, const uint8_t* mask, Real* e) {
    Real most = -INFINITY, total = 0;
    for (Index i = 0; i < S; i++)
        if (mask[i] && e[i] > most) most = e[i];
    for (Index i = 0; i < S; i++) {
        e[i] = mask[i] ? exp_(Real(e[i] - most)) : Real(0);
        total += e[i];
    }
    for (Index i = 0; i < S; i++) e[i] /= total;
}

// One query a sentence: e_i = v . tanh(q + k_i), or scale q . k_i where v is null; alpha = softmax(e), c = alpha h.
template <class Real, class Low>
void attend_forward(Index B, Index S, Index A, Index M, const Low* q, Index q_stride, const Low* keys, const Real* v,
                    Real scale, const Low* h, const uint8_t* mask, Real* alpha, Low* c, Index c_stride, int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<Real> query(A), context(M);
#pragma omp for schedule(static)
        for (Index b = 0; b < B; b++) {
            widen(A, q + b * q_stride, query.data());
            const Real* qs = query.data();
            Real* e = alpha + b * S;
            for (Index i = 0; i < S; i++) {
                const Low* k = keys + (b * S + i) * A;
                Real sum = 0;
                if (!mask[b * S + i]) {
                } else if (v) {
#pragma omp simd reduction(+ : sum)
                    for (Index a = 0; a < A; a++) sum += v[a] * tanh_(Real(qs[a] + load(k[a])));
                } else {
#pragma omp simd reduction(+ : sum)
                    for (Index a = 0; a < A; a++) sum += qs[a] * load(k[a]);
                    sum *= scale;
                }
                e[i] = sum;
            }
            softmax(S, mask + b * S, e);
            Real* sums = context.data();
            std::fill(context.begin(), context.end(), Real(0));
            for (Index i = 0; i < S; i++) {
                if (!mask[b * S + i]) continue;
                const Low* state = h + (b * S + i) * M;
                Real weight = e[i];
#pragma omp simd
                for (Index m = 0; m < M; m++) sums[m] += weight * load(state[m]);
            }
            Low* out = c + b * c_stride;
#pragma omp simd
            for (Index m = 0; m < M; m++) store(out[m], sums[m]);
        }
    }
}

// d c -> d q; d keys and (a sentence each) d v are added to. d h = alpha^T d c is left to one product over all steps.
template <class Real, class Low>
void attend_backward(Index B, Index S, Index A, Index M, const Low* q, Index q_stride, const Low* keys, const Real* v,
                     Real scale, const Low* h, const uint8_t* mask, const Real* alpha, const Low* dc, Index dc_stride,
                     Low* dq, Real* d_keys, Real* d_v, int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<Real> query(A), d_context(M), d_query(A), de(S);
#pragma omp for schedule(static)
        for (Index b = 0; b < B; b++) {
            widen(A, q + b * q_stride, query.data());
            widen(M, dc + b * dc_stride, d_context.data());
            const Real *qs = query.data(), *ds = d_context.data(), *weights = alpha + b * S;
            Real mean = 0;
            for (Index i = 0; i < S; i++) {
                Real sum = 0;
                if (mask[b * S + i]) {
                    const Low* state = h + (b * S + i) * M;
#pragma omp simd reduction(+ : sum)
                    for (Index m = 0; m < M; m++) sum += ds[m] * load(state[m]);
                }
                de[i] = sum;
                mean += weights[i] * sum;
            }
            Real* dqs = d_query.data();
            std::fill(d_query.begin(), d_query.end(), Real(0));
            for (Index i = 0; i < S; i++) {
                if (!mask[b * S + i]) continue;
                const Low* k = keys + (b * S + i) * A;
                Real* dk = d_keys + (b * S + i) * A;
                Real d = weights[i] * (de[i] - mean);
                if (v) {
                    Real* dvs = d_v + b * A;
#pragma omp simd
                    for (Index a = 0; a < A; a++) {
                        Real t = tanh_(Real(qs[a] + load(k[a])));
                        Real inner = d * v[a] * (1 - t * t);
                        dqs[a] += inner;
                        dk[a] += inner;
                        dvs[a] += d * t;
                    }
                } else {
                    Real scaled = d * scale;
#pragma omp simd
                    for (Index a = 0; a < A; a++) {
                        dqs[a] += scaled * load(k[a]);
                        dk[a] += scaled * qs[a];
                    }
                }
            }
            Low* out = dq + b * A;
#pragma omp simd
            for (Index a = 0; a < A; a++) store(out[a], dqs[a]);
        }
    }
}

// Label-smoothed cross entropy of B rows of logits, which are replaced by their gradient p - (1 - s) [y] - s / V.
template <class Real, class Low>
void cross_entropy(Index B, Index V, Low* logits, const Real* bias, const int64_t* targets, Real smoothing, Real* loss,
                   Real* nll, int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<Real> row(V);
#pragma omp for schedule(static)
        for (Index b = 0; b < B; b++) {
            Low* in = logits + b * V;
            Real *x = row.data(), most = -INFINITY, sum = 0, total = 0;
#pragma omp simd reduction(max : most) reduction(+ : sum)
            for (Index j = 0; j < V; j++) {
                x[j] = load(in[j]) + bias[j];
                sum += x[j];
                most = x[j] > most ? x[j] : most;
            }
            Real target = x[targets[b]];
#pragma omp simd reduction(+ : total)
            for (Index j = 0; j < V; j++) {
                x[j] = exp_(Real(x[j] - most));
                total += x[j];
            }
            Real log_total = most + std::log(total), factor = 1 / total, even = smoothing / Real(V);
            nll[b] = log_total - target;
            loss[b] = (1 - smoothing) * nll[b] + smoothing * (log_total - sum / Real(V));
            Real at_target = x[targets[b]] * factor - even - (1 - smoothing);
#pragma omp simd
            for (Index j = 0; j < V; j++) store(in[j], x[j] * factor - even);
            store(in[targets[b]], at_target);
        }
    }
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// Every function for the three pairs of types; `name_float`, `name_bfloat16`, `name_double`.
#define FOR(suffix, Real, Low)                                                                                         \
    EXPORT void lstm_forward_##suffix(Index B, Index H, const Low* x, const Low* u, const Real* old, Real* gates,      \
                                      Real* c, Low* h, Index stride, int n) {                                          \
        lstm_forward<Real, Low>(B, H, x, u, old, gates, c, h, stride, n);                                              \
    }                                                                                                                  \
    EXPORT void gru_forward_##suffix(Index B, Index H, const Low* x, const Low* u, const Real* old, Real* gates,       \
                                     Real* c, Low* h, Index stride, int n) {                                           \
        gru_forward<Real, Low>(B, H, x, u, old, gates, c, h, stride, n);                                               \
    }                                                                                                                  \
    EXPORT void lstm_backward_##suffix(Index B, Index H, const Real* gates, const Real* old, const Real* c,            \
                                       const Low* dh, Index stride, const Low* more, Index more_stride, Real* dc,      \
                                       Low* d_gates, int n) {                                                          \
        lstm_backward<Real, Low>(B, H, gates, old, c, dh, stride, more, more_stride, dc, d_gates, n);                  \
    }                                                                                                                  \
    EXPORT void gru_backward_##suffix(Index B, Index H, const Real* gates, const Real* old, const Real* c,             \
                                      const Low* dh, Index stride, const Low* more, Index more_stride, Real* dc,       \
                                      Low* d_gates, int n) {                                                           \
        gru_backward<Real, Low>(B, H, gates, old, c, dh, stride, more, more_stride, dc, d_gates, n);                   \
    }                                                                                                                  \
    EXPORT void sru_forward_##suffix(Index B, Index T, Index H, const Low* u, const Real* v, const Real* begin,        \
                                     const uint8_t* mask, Real* c, Low* h, int n) {                                    \
        sru_forward<Real, Low>(B, T, H, u, v, begin, mask, c, h, n);                                                   \
    }                                                                                                                  \
    EXPORT void sru_backward_##suffix(Index B, Index T, Index H, const Low* u, const Real* v, const Real* begin,       \
                                      const uint8_t* mask, const Real* c, const Low* dh, Real* dc, Low* du, Real* dv,  \
                                      int n) {                                                                         \
        sru_backward<Real, Low>(B, T, H, u, v, begin, mask, c, dh, dc, du, dv, n);                                     \
    }                                                                                                                  \
    EXPORT void attend_forward_##suffix(Index B, Index S, Index A, Index M, const Low* q, Index q_stride,              \
                                        const Low* keys, const Real* v, double scale, const Low* h,                    \
                                        const uint8_t* mask, Real* alpha, Low* c, Index c_stride, int n) {             \
        attend_forward<Real, Low>(B, S, A, M, q, q_stride, keys, v, Real(scale), h, mask, alpha, c, c_stride, n);      \
    }                                                                                                                  \
    EXPORT void attend_backward_##suffix(Index B, Index S, Index A, Index M, const Low* q, Index q_stride,             \
                                         const Low* keys, const Real* v, double scale, const Low* h,                   \
                                         const uint8_t* mask, const Real* alpha, const Low* dc, Index dc_stride,       \
                                         Low* dq, Real* d_keys, Real* d_v, int n) {                                    \
        attend_backward<Real, Low>(B, S, A, M, q, q_stride, keys, v, Real(scale), h, mask, alpha, dc, dc_stride, dq,   \
                                   d_keys, d_v, n);                                                                    \
    }                                                                                                                  \
    EXPORT void cross_entropy_##suffix(Index B, Index V, Low* logits, const Real* bias, const int64_t* targets,        \
                                       double smoothing, Real* loss, Real* nll, int n) {                               \
        cross_entropy<Real, Low>(B, V, logits, bias, targets, Real(smoothing), loss, nll, n);                          \
    }

FOR(float, float, float)
FOR(bfloat16, float, bfloat16)
FOR(double, double, double)
