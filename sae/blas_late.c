/* blas: the functions of OpenBLAS that sae/ calls; the library is loaded at the first call. */
#include <cblas.h>

#include "base/base.h"

#define BLAS "libopenblas.so.0"
typedef enum CBLAS_ORDER order;
typedef enum CBLAS_TRANSPOSE transpose;
typedef enum CBLAS_UPLO uplo;
typedef enum CBLAS_DIAG diagonal;

LATE_VOID(BLAS, openblas_set_num_threads, (int n), (n))
LATE(BLAS, char *, openblas_get_config, (void), ())
LATE(BLAS, char *, openblas_get_corename, (void), ())
LATE_VOID(BLAS, cblas_sgemm,
          (order o, transpose ta, transpose tb, blasint m, blasint n, blasint k, float alpha, const float *a,
           blasint lda, const float *b, blasint ldb, float beta, float *c, blasint ldc),
          (o, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc))
LATE_VOID(BLAS, cblas_dsyrk,
          (order o, uplo half, transpose ta, blasint n, blasint k, double alpha, const double *a, blasint lda,
           double beta, double *c, blasint ldc),
          (o, half, ta, n, k, alpha, a, lda, beta, c, ldc))
LATE_VOID(BLAS, cblas_dtrsv,
          (order o, uplo half, transpose ta, diagonal unit, blasint n, const double *a, blasint lda,
           double *x, blasint incx),
          (o, half, ta, unit, n, a, lda, x, incx))
LATE_VOID(BLAS, cblas_dsymv,
          (order o, uplo half, blasint n, double alpha, const double *a, blasint lda, const double *x,
           blasint incx, double beta, double *y, blasint incy),
          (o, half, n, alpha, a, lda, x, incx, beta, y, incy))
/* LAPACK, which cblas.h does not declare. */
void dsyevd_(const char *job, const char *half, const int *n, double *a, const int *lda, double *w,
             double *work, const int *n_work, int *iwork, const int *n_iwork, int *info);
LATE_VOID(BLAS, dsyevd_,
          (const char *job, const char *half, const int *n, double *a, const int *lda, double *w,
           double *work, const int *n_work, int *iwork, const int *n_iwork, int *info),
          (job, half, n, a, lda, w, work, n_work, iwork, n_iwork, info))
