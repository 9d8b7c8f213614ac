/* calibrate: what probabilities are worth against a truth. */
#include <math.h>

#include "explain/stats.h"

enum { BINS = 10, LEAST = 10, STEPS = 100 };

static double log_odds(double p)
{
	double q = fmax(0.001, fmin(0.999, p));

	return log(q / (1 - q));
}

static double sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

/* Newton's method on the likelihood with Platt's targets, which keep the slope finite where grades part the classes. */
static void platt(stats_calibration *c, const double *p, const uint8_t *truth, size_t n, size_t n_yes)
{
	double yes = ((double)n_yes + 1) / ((double)n_yes + 2), no = 1 / ((double)(n - n_yes) + 2);
	double a = 0, b = 0;

	for (int step = 0; step < STEPS; step++) {
		double ga = 0, gb = 0, haa = 1e-9, hab = 0, hbb = 1e-9, det, da, db, most;

		for (size_t i = 0; i < n; i++) {
			double x = log_odds(p[i]), q = sigmoid(a * x + b), w = q * (1 - q);
			double d = (truth[i] ? yes : no) - q;

			ga += d * x;
			gb += d;
			haa += w * x * x;
			hab += w * x;
			hbb += w;
		}
		det = haa * hbb - hab * hab;
		if (!(det > 1e-9 * haa * hbb))
			return;
		da = (hbb * ga - hab * gb) / det;
		db = (haa * gb - hab * ga) / det;
		most = fmax(1, fmax(fabs(da), fabs(db))); /* no step goes far */
		a += da / most;
		b += db / most;
		if (fabs(da) < 1e-10 && fabs(db) < 1e-10)
			break;
	}
	c->slope = a;
	c->intercept = b;
	c->brier_after = 0;
	for (size_t i = 0; i < n; i++)
		c->brier_after += pow(sigmoid(a * log_odds(p[i]) + b) - truth[i], 2) / (double)n;
}

stats_calibration stats_calibrate(const double *p, const uint8_t *truth, size_t n)
{
	stats_calibration c = { n, NAN, NAN, NAN, NAN, NAN };
	double said[BINS] = { 0 }, was[BINS] = { 0 }, least = 1, most = 0;
	size_t n_yes = 0;

	if (n == 0)
		return c;
	c.brier = c.ece = 0;
	for (size_t i = 0; i < n; i++) {
		int bin = p[i] >= 1 ? BINS - 1 : (int)(p[i] * BINS);

		c.brier += (p[i] - truth[i]) * (p[i] - truth[i]) / (double)n;
		said[bin] += p[i];
		was[bin] += truth[i];
		n_yes += truth[i];
		least = fmin(least, p[i]);
		most = fmax(most, p[i]);
	}
	for (int k = 0; k < BINS; k++)
		c.ece += fabs(said[k] - was[k]) / (double)n;
	if (n >= LEAST && n_yes > 0 && n_yes < n && least < most)
		platt(&c, p, truth, n, n_yes);
	return c;
}
