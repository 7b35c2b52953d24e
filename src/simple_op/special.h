// SPDX-License-Identifier: Apache-2.0
// Special functions of one double, computed one element at a time.
#pragma once

namespace mxnet::special {

double gamma(double x);
double gammaln(double x);   // log |gamma(x)|
double digamma(double x);   // derivative of gammaln
double trigamma(double x);  // derivative of digamma
double erfinv(double x);

}  // namespace mxnet::special
